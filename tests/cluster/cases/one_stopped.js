'use strict';
const { askAll, connect } = require('../clients');
const { stop } = require('../processes');

module.exports = {
	id: 'LS-11',
	what: 'one of two workers is stopped, 6 clients come',
	expected: { node: '5 served, 1 hangs', usher: 'all 6: served' },

	async run(side) {
		await side.start({ workers: 2, distribute: 'round-robin', listen: { port: 0, host: '127.0.0.1' } });
		await stop((await side.workers())[0]);
		return askAll(await connect(side.target(), 6));
	},
};
