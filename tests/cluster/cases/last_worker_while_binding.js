'use strict';
const { hasGone } = require('../processes');

module.exports = {
	id: 'DF-11',
	what: 'the last worker goes while a listen of it is on its way: the supervisor',
	expected: { node: 'dies', usher: 'goes on' },
	pending: 'listens in workers',

	// A slow look-up makes the way long.
	async run(side) {
		const started = side.start({ workers: 1, distribute: 'round-robin', respawn: false,
			slowLookupMs: 500, listen: { port: 0, host: '127.0.0.1' } });

		started.catch(() => {});
		await side.untilBinding();
		await side.loseWorkers().catch(() => {});
		await Promise.race([side.ended, new Promise((resolve) => { setTimeout(resolve, 2000); })]);
		return hasGone(side.supervisor) ? 'dies' : 'goes on';
	},
};
