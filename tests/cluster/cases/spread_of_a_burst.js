'use strict';
const { askAll, connect } = require('../clients');

module.exports = {
	id: 'LS-10',
	what: '40 clients at once, round-robin over 4 workers: how many each has',
	expected: { node: /^\d+ \d+ \d+ \d+$/, usher: '10 10 10 10' },

	async run(side) {
		await side.start({ workers: 4, distribute: 'round-robin', listen: { port: 0, host: '127.0.0.1' } });
		await askAll(await connect(side.target(), 40));
		return Object.values((await side.count()).workers).join(' ');
	},
};
