'use strict';
const net = require('net');

module.exports = {
	id: 'DF-12',
	what: 'two servers of a worker listen on one descriptor of the supervisor',
	expected: { node: 'bind EEXIST', usher: 'this address is taken' },

	async run(side) {
		const inherited = net.createServer().listen(0, '127.0.0.1');

		await new Promise((resolve) => { inherited.once('listening', resolve); });
		const errors = await side.start({ workers: 1, distribute: 'round-robin', times: 2,
			fd: inherited._handle.fd, listen: { fd: 3 } }).catch((error) => [error.message]);

		inherited.close();
		return errors.length > 0 ? errors[0].match(/bind \w+|this address is taken|$/)[0] : 'no error';
	},
};
