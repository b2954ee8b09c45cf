'use strict';

module.exports = {
	id: 'LS-2',
	what: 'two workers listen on port 0, each twice: the ports',
	expected: { node: 'a b, a b', usher: 'a b, a b' },

	async run(side) {
		const listen = { port: 0, host: '127.0.0.1' };
		const ports = [];
		const letter = (port) => {
			if (!ports.includes(port))
				ports.push(port);
			return 'abcd'[ports.indexOf(port)];
		};

		await side.startCrew({ workers: 2 });
		const words = [];

		for (const worker of [0, 1]) {
			const first = await side.listen(worker, 'first', listen);
			const second = await side.listen(worker, 'second', listen);

			words.push(`${letter(side.portOf(first))} ${letter(side.portOf(second))}`);
		}
		return words.join(', ');
	},
};
