'use strict';
const net = require('net');
const { visit } = require('../clients');

module.exports = {
	id: 'LS-5',
	what: 'listen on a busy port, and again when it is free',
	expected: { node: 'error, then served', usher: 'error, then served' },

	async run(side) {
		const busy = net.createServer().listen(0, '127.0.0.1');

		await new Promise((resolve) => { busy.once('listening', resolve); });
		const options = { workers: 1, distribute: 'round-robin',
			listen: { port: busy.address().port, host: '127.0.0.1' } };
		const words = [(await side.start(options)).length > 0 ? 'error' : 'no error'];

		await new Promise((resolve) => { busy.close(resolve); });
		const errors = await side.start(options);

		words.push(errors.length > 0 ? errors.join(' ') : await visit(side.target()));
		return words.join(', then ');
	},
};
