'use strict';

module.exports = {
	id: 'LS-3',
	what: 'a worker listens twice on one port',
	expected: { node: 'bind EADDRINUSE', usher: 'bind EADDRINUSE' },

	async run(side) {
		await side.startCrew({ workers: 1 });
		const port = side.portOf(await side.listen(0, 'first', { port: 0, host: '127.0.0.1' }));
		const words = [];

		await side.closeServer(0, 'first');
		for (const name of ['second', 'third'])
			words.push((await side.listen(0, name, { port, host: '127.0.0.1' })).error);
		return words[1] ? words[1].match(/^\w+ \w+/)[0] : 'listens';
	},
};
