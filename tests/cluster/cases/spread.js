'use strict';
const { connectServed } = require('../clients');

module.exports = {
	id: 'LS-10',
	what: '40 clients one by one, round-robin over 4 workers: how many each has',
	expected: { node: '10 10 10 10', usher: '10 10 10 10' },

	async run(side) {
		await side.start({ workers: 4, distribute: 'round-robin', listen: { port: 0, host: '127.0.0.1' } });
		await connectServed(side.target(), 40);
		return Object.values((await side.count()).workers).join(' ');
	},
};
