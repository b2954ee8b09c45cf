'use strict';
const { askAll, connect } = require('../clients');
const { go, stop } = require('../processes');

module.exports = {
	id: 'DF-7',
	what: 'the only worker closes its server while 3 connections are on their way to it',
	expected: { node: '1 served, 1 closed, 1 hangs', usher: 'all 3: served' },

	// That the supervisor answers says that it has accepted them.
	async run(side) {
		await side.start({ workers: 1, distribute: 'round-robin', listen: { port: 0, host: '127.0.0.1' } });
		const [pid] = await side.workers();

		await stop(pid);
		const clients = await connect(side.target(), 3);

		await side.workers();
		await side.drain(pid);
		go(pid);
		return askAll(clients);
	},
};
