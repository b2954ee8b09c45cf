'use strict';
const { Client } = require('../clients');

module.exports = {
	id: 'LS-13',
	what: 'a client comes while no worker runs',
	expected: { node: 'refused', usher: 'connected, served when one runs again' },

	async run(side) {
		await side.start({ workers: 1, distribute: 'round-robin', respawn: false,
			listen: { port: 0, host: '127.0.0.1' } });
		for (;;) {
			await side.loseWorkers();
			const client = new Client(side.target());
			const word = await client.arrival();

			if (word !== 'connected')
				return word;
			// It may have been back already: the next time it takes longer.
			if ((await side.workers()).length === 0) {
				await side.comeBack();
				return `connected, ${await client.ask()} when one runs again`;
			}
			client.end();
		}
	},
};
