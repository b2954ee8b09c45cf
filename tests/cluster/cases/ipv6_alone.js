'use strict';
const { visit } = require('../clients');

module.exports = {
	id: 'DF-9',
	what: 'ipv6Only without a host: a client of 127.0.0.1',
	expected: { node: 'served', usher: 'refused' },

	async run(side) {
		await side.start({ workers: 2, distribute: 'round-robin', listen: { port: 0, ipv6Only: true } });
		return visit(side.target());
	},
};
