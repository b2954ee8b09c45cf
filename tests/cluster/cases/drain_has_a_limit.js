'use strict';
const { connectServed } = require('../clients');
const { within } = require('../processes');

module.exports = {
	id: 'WK-5',
	what: 'a worker is told to disconnect and its client stays: the client',
	expected: { node: 'goes on for ever', usher: 'is closed at the time limit' },

	async run(side) {
		await side.start({ workers: 2, distribute: 'round-robin', drainTimeout: '1s',
			listen: { port: 0, host: '127.0.0.1' } });
		const [client] = await connectServed(side.target(), 1);
		const { workers } = await side.count();

		await side.disconnect(Number(Object.keys(workers).find((pid) => workers[pid] === 1)));
		return await within(client.patienceMs, client.closing()) ? 'is closed at the time limit' : 'goes on for ever';
	},
};
