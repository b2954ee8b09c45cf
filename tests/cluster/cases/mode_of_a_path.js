'use strict';
const path = require('path');

module.exports = {
	id: 'DF-8',
	what: 'the handle of a path is shared, for everybody to read and write: its mode',
	expected: { node: '755', usher: '666' },

	async run(side) {
		const name = path.join(side.place, 'socket');

		await side.start({ workers: 2, distribute: 'shared',
			listen: { path: name, readableAll: true, writableAll: true } });
		return side.modeOf(name);
	},
};
