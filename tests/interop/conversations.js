'use strict';
// Real Node.js and the library talk to each other, each as server and as client. "peer" is the
// library's side, see peer.c; "socket" is Node's.
//
//   node tests/interop/conversations.js [NAME...]

const assert = require('assert');
const fs = require('fs');
const { StringDecoder } = require('string_decoder');
const { awaitPeer, callPeer, errorAtClose, event, hashOfFile, place, randomFile, receive,
	receiveText, run, test } = require('./scene');

const LARGE = 100 * 1024 * 1024;

// Each conversation is held four times: who serves, and over what.
function everyWay(name, body) {
	const ways = {
		our_server: callPeer,
		our_client: awaitPeer,
		our_server_on_a_path: (action, argument, options) =>
			callPeer(action, argument, options, place('socket')),
		our_client_on_a_path: (action, argument, options) =>
			awaitPeer(action, argument, options, place('socket')),
	};

	for (const [way, begin] of Object.entries(ways))
		test(`${name}_${way}`, () => body(begin));
}

everyWay('half_open_answer_after_nodes_end', async (begin) => {
	const { peer, socket } = await begin('answer', '', { allowHalfOpen: true });

	socket.end('question');
	await peer.line('end');
	peer.tell('answer');
	assert.strictEqual(await receiveText(socket), 'got 8 after your end');
	await peer.succeeds();
	assert.deepStrictEqual(peer.events(), ['connect', 'end', 'finish', 'close']);
});

everyWay('half_open_answer_after_our_end', async (begin) => {
	const { peer, socket } = await begin('end', '', { allowHalfOpen: true });

	assert.strictEqual(await receiveText(socket), 'bye');
	assert.strictEqual(socket.writable, true);
	socket.end('late answer');
	assert.deepStrictEqual(await peer.line('received'), ['11']);
	await peer.succeeds();
});

// EN-3, on both sides: who ends first has finished before the other's end comes.
everyWay('order_of_events_when_node_ends_first', async (begin) => {
	const { peer, socket } = await begin('read');
	const events = [];

	for (const name of ['finish', 'end', 'close'])
		socket.on(name, () => events.push(name));
	socket.resume().end();
	await event(socket, 'close');
	await peer.succeeds();
	assert.deepStrictEqual(events, ['finish', 'end', 'close']);
	assert.deepStrictEqual(peer.events(), ['connect', 'end', 'finish', 'close']);
});

everyWay('order_of_events_when_we_end_first', async (begin) => {
	const { peer, socket } = await begin('end');
	const events = [];

	for (const name of ['finish', 'end', 'close'])
		socket.on(name, () => events.push(name));
	socket.resume();
	await event(socket, 'close');
	await peer.succeeds();
	assert.deepStrictEqual(events, ['end', 'finish', 'close']);
	assert.deepStrictEqual(peer.events(), ['connect', 'finish', 'end', 'close']);
});

// Paused from the start we read nothing, and Node.js gets to feel it.
everyWay('paused_we_read_nothing_and_then_all', async (begin) => {
	const file = randomFile('sent', LARGE / 4);
	const { peer, socket } = await begin('save-paused', place('received'));

	assert.strictEqual(socket.write(fs.readFileSync(file)), false);
	await peer.line('connect');
	peer.tell('report');
	assert.deepStrictEqual(await peer.line('read'), ['0', 'paused', '1']);
	assert.ok(socket.writableLength > 0);

	socket.end();
	socket.resume();
	peer.tell('resume');
	assert.deepStrictEqual(await peer.line('received'), [String(LARGE / 4)]);
	await peer.succeeds();
	assert.strictEqual(hashOfFile(place('received')), hashOfFile(file));
});

// And the other way round: what a paused Node.js does not take waits in our queue.
everyWay('node_paused_makes_our_write_wait', async (begin) => {
	const file = randomFile('sent', LARGE);
	const { peer, socket } = await begin('send', file, { pauseOnConnect: true });

	socket.pause();
	const [welcome, , queued] = await peer.line('welcome');

	assert.strictEqual(welcome, '0');
	assert.ok(Number(queued) > 0 && Number(queued) <= LARGE);
	assert.ok(!peer.events().includes('drain'));

	const received = receive(socket);

	socket.resume();
	assert.deepStrictEqual(await received, { size: LARGE, hash: hashOfFile(file) });
	assert.deepStrictEqual(await peer.line('written'), ['0']);
	await peer.succeeds();
	assert.deepStrictEqual(peer.events(), ['connect', 'drain', 'finish', 'end', 'close']);
});

everyWay('a_write_of_100_mb_from_node', async (begin) => {
	const file = randomFile('sent', LARGE);
	const { peer, socket } = await begin('save', place('received'));

	socket.resume().end(fs.readFileSync(file));
	assert.deepStrictEqual(await peer.line('received'), [String(LARGE)]);
	await peer.succeeds();
	assert.strictEqual(hashOfFile(place('received')), hashOfFile(file));
});

everyWay('a_write_of_100_mb_from_us', async (begin) => {
	const file = randomFile('sent', LARGE);
	const { peer, socket } = await begin('send', file);

	assert.deepStrictEqual(await receive(socket), { size: LARGE, hash: hashOfFile(file) });
	await peer.succeeds();
});

// EN-9, RD-7: only TCP has resets.
for (const [way, begin] of [['our_server', callPeer], ['our_client', awaitPeer]]) {
	test(`our_reset_is_seen_by_node_${way}`, async () => {
		const { peer, socket } = await begin('reset');

		socket.write('x');
		const error = await errorAtClose(socket);

		assert.strictEqual(error && error.message, 'read ECONNRESET');
		await peer.succeeds();
		assert.deepStrictEqual(peer.lines.slice(-2), ['connect', 'close 0']);
	});

	test(`nodes_reset_is_seen_by_us_${way}`, async () => {
		const { peer, socket } = await begin('read');

		await peer.line('connect');
		socket.resetAndDestroy();
		await peer.succeeds();
		assert.deepStrictEqual(peer.lines.slice(-2), ['error read ECONNRESET', 'close 1']);
	});
}

// RD-8: each byte comes in a packet of its own, also the ones inside a character, and some that are
// none. Node's own decoder is the judge.
const TEXT = Buffer.concat([
	Buffer.from('aé€😀 ﬀ\u0000z'),
	Buffer.from([0xc3, 0x28, 0xf0, 0x9f, 0x98, 0x41, 0xed, 0xa0, 0x80, 0xff, 0xe2, 0x82]),
]);
const UTF16 = Buffer.concat([Buffer.from('aé€😀z', 'utf16le'), Buffer.from([0x3d, 0xd8, 0x41])]);

async function decodesLikeNode(begin, encoding, bytes) {
	const { peer, socket } = await begin('decode', encoding);
	const judge = new StringDecoder(encoding);
	let expected = '';

	for (const byte of bytes) {
		const seen = event(socket, 'data');

		socket.write(Buffer.from([byte]));
		expected += judge.write(Buffer.from([byte]));
		await seen;
	}
	socket.end();
	expected += judge.end();
	await peer.succeeds();

	const told = peer.lines.filter((line) => line.startsWith('text '));
	const text = Buffer.from(told.map((line) => line.slice(5)).join(''), 'hex').toString();

	// Half a surrogate pair has no UTF-8; on its way there it becomes U+FFFD in Node.js as well.
	assert.strictEqual(text, Buffer.from(expected).toString());
	for (const line of told)
		assert.ok(line.length > 5, 'no event without text');
}

for (const encoding of ['utf8', 'utf16le', 'latin1', 'ascii', 'base64', 'base64url', 'hex'])
	everyWay(`decodes_${encoding}_split_between_packets`, async (begin) => {
		await decodesLikeNode(begin, encoding, encoding === 'utf16le' ? UTF16 : TEXT);
	});

run();
