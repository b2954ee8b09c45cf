'use strict';
const { connectServed } = require('../clients');
const { kill, stop } = require('../processes');

module.exports = {
	id: 'GC-3',
	what: 'one of two processes with 2 connections each dies while getConnections asks it',
	expected: { node: 'Child closed before reply received', usher: '2' },
	library: true,

	async run(side) {
		await side.start({ workers: 2, distribute: 'round-robin',
			servers: [{ name: 'it', port: 0, host: '127.0.0.1' }] });
		await connectServed(side.target('it'), 4);
		const [pid] = await side.workers();

		await stop(pid);
		const counting = side.count('it');

		await side.workers();
		await kill(pid);
		const counted = await counting;

		return counted ? String(counted.error || counted.total) : 'no answer';
	},
};
