'use strict';
const net = require('net');

module.exports = {
	id: 'DF-10',
	what: 'no host, and the port is busy: what the error calls the address',
	expected: { node: 'null:PORT', usher: '[::]:PORT' },

	async run(side) {
		const busy = net.createServer().listen(0);

		await new Promise((resolve) => { busy.once('listening', resolve); });
		const { port } = busy.address();
		const errors = await side.start({ workers: 1, distribute: 'round-robin', listen: { port } });

		busy.close();
		const named = errors.map((text) => text.match(`(\\S*:)${port}\\b`)).find((found) => found);

		return named ? `${named[1]}PORT` : `nothing in: ${errors.join(' ')}`;
	},
};
