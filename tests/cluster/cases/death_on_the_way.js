'use strict';
const { askAll, connect } = require('../clients');
const { kill, stop } = require('../processes');

module.exports = {
	id: 'DF-1',
	what: 'a worker dies that was handed a connection and has not taken it',
	expected: { node: '1 served, 1 hangs', usher: 'all 2: served' },

	// Of two in turn one is for the stopped worker.
	async run(side) {
		await side.start({ workers: 2, distribute: 'round-robin', listen: { port: 0, host: '127.0.0.1' } });
		const [pid] = await side.workers();

		await stop(pid);
		const clients = await connect(side.target(), 2);

		await Promise.race(clients.map((client) => client.ask()));
		await kill(pid);
		return askAll(clients);
	},
};
