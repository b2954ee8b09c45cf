'use strict';
const { connectServed } = require('../clients');
const { kill, until } = require('../processes');

module.exports = {
	id: 'DF-4',
	what: 'every process that got a connection has died: getConnections',
	expected: { node: 'no answer', usher: '0' },
	library: true,

	async run(side) {
		await side.start({ workers: 2, distribute: 'round-robin',
			servers: [{ name: 'it', port: 0, host: '127.0.0.1' }] });
		await connectServed(side.target('it'), 4);
		const pids = await side.workers();

		for (const pid of pids)
			await kill(pid);
		await until('the supervisor knows it', async () => {
			const now = await side.workers();

			return !pids.some((pid) => now.includes(pid));
		});
		const counted = await side.count('it');

		return counted ? String(counted.total) : 'no answer';
	},
};
