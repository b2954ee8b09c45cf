'use strict';
const { connectServed } = require('../clients');

module.exports = {
	id: 'GC-6',
	what: 'two workers have 5 connections each: the one figure that getConnections gives',
	expected: { node: '5', usher: '10' },

	async run(side) {
		await side.start({ workers: 2, distribute: 'round-robin', listen: { port: 0, host: '127.0.0.1' } });
		await connectServed(side.target(), 10);
		return String(await side.getConnections());
	},
};
