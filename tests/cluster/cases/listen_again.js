'use strict';

module.exports = {
	id: 'LS-3',
	what: 'a worker closes and listens again on a port that another worker still has',
	expected: { node: 'listens', usher: 'listens' },

	async run(side) {
		await side.startCrew({ workers: 2 });
		const port = side.portOf(await side.listen(0, 'probe', { port: 0, host: '127.0.0.1' }));
		const listen = { port, host: '127.0.0.1' };

		await side.closeServer(0, 'probe');
		for (const worker of [0, 1])
			await side.listen(worker, 'it', listen);
		await side.closeServer(0, 'it');
		const { error } = await side.listen(0, 'again', listen);

		return error ? error.match(/^\w+ \w+/)[0] : 'listens';
	},
};
