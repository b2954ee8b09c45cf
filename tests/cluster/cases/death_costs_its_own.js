'use strict';
const { connectServed, tell } = require('../clients');
const { kill } = require('../processes');

module.exports = {
	id: 'GC-3',
	what: 'one of 4 workers with 5 connections each is killed; the sum when it is replaced',
	expected: { node: '15 goes on, 5 closed, sum 15', usher: '15 goes on, 5 closed, sum 15' },

	async run(side) {
		await side.start({ workers: 4, distribute: 'round-robin', listen: { port: 0, host: '127.0.0.1' } });
		const clients = await connectServed(side.target(), 20);
		const [pid] = await side.workers();

		await kill(pid);
		await side.untilReplaced(pid, 4);
		const fates = tell(await Promise.all(clients.map((client) => client.fate())));

		return `${fates}, sum ${(await side.count()).total}`;
	},
};
