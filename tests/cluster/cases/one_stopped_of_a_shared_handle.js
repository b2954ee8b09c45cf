'use strict';
const { askAll, connect } = require('../clients');
const { stop } = require('../processes');

module.exports = {
	id: 'LS-9',
	what: 'the handle is shared, one of 4 workers is stopped, 40 clients come',
	expected: { node: 'all 40: served', usher: 'all 40: served' },

	async run(side) {
		await side.start({ workers: 4, distribute: 'shared', listen: { port: 0, host: '127.0.0.1' } });
		await stop((await side.workers())[0]);
		return askAll(await connect(side.target(), 40));
	},
};
