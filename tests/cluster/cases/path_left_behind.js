'use strict';
const path = require('path');
const { visit } = require('../clients');

module.exports = {
	id: 'LS-6',
	what: 'the supervisor is killed and started again, on the same path',
	expected: { node: 'EADDRINUSE', usher: 'served' },

	async run(side) {
		const options = { workers: 1, distribute: 'round-robin',
			listen: { path: path.join(side.place, 'socket') } };

		await side.start(options);
		await side.die();
		const errors = await side.start(options);

		return errors.length > 0 ? errors[0].match(/E[A-Z]+|$/)[0] : visit(side.target());
	},
};
