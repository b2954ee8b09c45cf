'use strict';
const { connectServed } = require('../clients');

module.exports = {
	id: 'DF-5',
	what: 'two servers on port 0 have 2 connections and 1: getConnections of each',
	expected: { node: '3 0', usher: '2 1' },
	library: true,

	async run(side) {
		await side.start({ workers: 2, distribute: 'round-robin', servers: [
			{ name: 'a', port: 0, host: '127.0.0.1' },
			{ name: 'b', port: 0, host: '127.0.0.1' },
		] });
		await connectServed(side.target('a'), 2);
		await connectServed(side.target('b'), 1);
		const counted = [await side.count('a'), await side.count('b')];

		return counted.map((one) => (one ? one.total : 'no answer')).join(' ');
	},
};
