'use strict';
const { connectServed, tell } = require('../clients');
const { kill, within } = require('../processes');

// Node's workers find out at once, usher's may go on for five seconds.
const SOON_MS = 1000;

module.exports = {
	id: 'WK-7',
	what: 'the supervisor is killed: those who are connected',
	expected: { node: 'all 4: closed', usher: 'all 4: goes on' },

	async run(side) {
		await side.start({ workers: 2, distribute: 'round-robin', listen: { port: 0, host: '127.0.0.1' } });
		const clients = await connectServed(side.target(), 4);

		side.mayDie = true;
		await kill(side.supervisor);
		await within(SOON_MS, Promise.all(clients.map((client) => client.closing())));
		const fates = await Promise.all(clients.map((client) => client.fate()));

		clients.forEach((client) => client.end());
		return tell(fates);
	},
};
