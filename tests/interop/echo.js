'use strict';
// INTEROP_MIB MiB (64) go through the library's echo server and come back as they were, over TCP and
// over a path.
//
//   node tests/interop/echo.js [NAME...]

const assert = require('assert');
const crypto = require('crypto');
const { Readable } = require('stream');
const { callPeer, hash, place, receive, run, test } = require('./scene');

const MIB = Number(process.env.INTEROP_MIB || 64);

// Random data is slow to make: one block of it, each time with another number in front.
function* blocks(sum) {
	const random = crypto.randomBytes(1024 * 1024);

	for (let i = 0; i < MIB; i++) {
		const block = Buffer.from(random);

		block.writeUInt32LE(i);
		sum.update(block);
		yield block;
	}
}

async function echo(where) {
	const { peer, socket } = await callPeer('echo', undefined, {}, where);
	const sum = hash();

	Readable.from(blocks(sum)).pipe(socket);
	const received = await receive(socket);

	assert.deepStrictEqual(received, { size: MIB * 1024 * 1024, hash: sum.digest('hex') });
	peer.child.stdin.end();
	await peer.succeeds();
}

test(`echo_of_${MIB}_mib_to_node_over_tcp`, () => echo());
test(`echo_of_${MIB}_mib_to_node_over_a_path`, () => echo(place('socket')));

run();
