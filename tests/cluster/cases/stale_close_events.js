'use strict';
// One process, no cluster: net_words.js and tests/cluster/net_words.c do and tell the same.
const { execFile } = require('child_process');
const net = require('net');
const path = require('path');
const { built } = require('../usher_side');

const programs = {
	NodeSide: [process.execPath, path.join(__dirname, '..', 'net_words.js')],
	UsherSide: [built('tests/cluster/net_words')],
};

module.exports = {
	id: 'DF-2',
	what: 'listen on a busy port, close, listen on another; close twice: the events',
	expected: {
		node: 'error, close, listening, close, close',
		usher: 'error, listening, close',
	},

	async run(side) {
		const [program, ...args] = programs[side.constructor.name];
		const busy = net.createServer().listen(0, '127.0.0.1');

		await new Promise((resolve) => { busy.once('listening', resolve); });
		const words = await new Promise((resolve, reject) => {
			execFile(program, [...args, String(busy.address().port)],
				(error, out) => (error ? reject(error) : resolve(out)));
		});

		busy.close();
		return words.trim().split('\n').join(', ');
	},
};
