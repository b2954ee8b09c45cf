'use strict';
const { hasGone, kill, within } = require('../processes');

const SOON_MS = 2000;

module.exports = {
	id: 'DF-11',
	what: 'the last worker dies while a listen of it is on its way: the supervisor',
	expected: { node: 'dies', usher: 'goes on' },

	async run(side) {
		await side.startCrew({ workers: 1, slowLookupMs: 500 });
		const [pid] = await side.workers();

		await side.listenSlowly(0, 'it', { port: 0, host: '127.0.0.1' }, () => kill(pid));
		await within(SOON_MS, side.ended);
		if (hasGone(side.supervisor))
			return 'dies';
		await side.workers();
		return 'goes on';
	},
};
