'use strict';
const { connectServed } = require('../clients');
const { stop } = require('../processes');

module.exports = {
	id: 'DF-6',
	what: 'one of two processes with 2 connections each is stopped: getConnections, not for the first time',
	expected: { node: 'no answer', usher: '4' },
	library: true,

	async run(side) {
		await side.start({ workers: 2, distribute: 'round-robin',
			servers: [{ name: 'it', port: 0, host: '127.0.0.1' }] });
		await connectServed(side.target('it'), 4);
		await side.count('it');
		await stop((await side.workers())[0]);
		const counted = await side.count('it');

		return counted ? String(counted.total) : 'no answer';
	},
};
