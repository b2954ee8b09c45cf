'use strict';
const { askAll, connect } = require('../clients');
const { sleeps } = require('../processes');

module.exports = {
	id: 'DF-3',
	what: 'all workers at their limit, more clients wait: the supervisor',
	expected: { node: 'is busy', usher: 'sleeps' },

	// Two have room for one each; of the six clients four wait.
	async run(side) {
		await side.start({ workers: 2, distribute: 'round-robin', maxConnections: 1,
			listen: { port: 0, host: '127.0.0.1' } });
		const clients = await connect(side.target(), 6);

		await askAll(clients.slice(0, 2));
		return await sleeps(side.supervisor, 2000) ? 'sleeps' : 'is busy';
	},
};
