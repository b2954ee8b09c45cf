'use strict';
const net = require('net');
const { visit } = require('../clients');
const { kill } = require('../processes');

module.exports = {
	id: 'DF-12',
	what: 'workers listen on a descriptor of the supervisor; both die and are replaced: a client',
	expected: { node: 'refused', usher: 'served' },

	async run(side) {
		const inherited = net.createServer().listen(0, '127.0.0.1');

		await new Promise((resolve) => { inherited.once('listening', resolve); });
		await side.start({ workers: 2, distribute: 'round-robin', fd: inherited._handle.fd,
			listen: { fd: 3 } });
		const target = side.target();

		inherited.close();
		const pids = await side.workers();

		for (const pid of pids)
			await kill(pid);
		for (const pid of pids)
			await side.untilReplaced(pid, 2);
		return visit(target);
	},
};
