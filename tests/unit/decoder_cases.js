// Writes decoder_cases.inc: bytes, and the text that Node.js's string_decoder makes of them, both in
// hex. Bytes are cut at random, and the text must not depend on it. The seed is fixed:
//
//   node tests/unit/decoder_cases.js > tests/unit/decoder_cases.inc
'use strict';
const { StringDecoder } = require('string_decoder');

let seed = 8124;
const random = (below) => {
	seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
	return Math.floor((seed / 2 ** 32) * below);
};
const pick = (list) => list[random(list.length)];

// Bytes at the edges of what UTF-8 and UTF-16 allow.
const utf8 = [
	0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec,
	0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
];
const utf16 = [0x00, 0x41, 0xd7, 0xd8, 0xdb, 0xdc, 0xdf, 0xe0, 0xff];
const pieces = ['a', '\u00e4', '\u20ac', '\ud83d\ude00', '\ufeff', '\u0000', '\uffff'];

const edges = (list, size) => Buffer.from(Array.from({ length: size }, () => pick(list)));
const valid = (encoding) =>
	Buffer.from(Array.from({ length: 1 + random(3) }, () => pick(pieces)).join(''), encoding);
const bytes = (size) => Buffer.from(Array.from({ length: size }, () => random(256)));

function decode(encoding, data) {
	const decoder = new StringDecoder(encoding);
	let text = '';
	for (let at = 0; at < data.length; ) {
		const size = 1 + random(data.length - at);
		text += decoder.write(data.subarray(at, at + size));
		at += size;
	}
	return Buffer.from(text + decoder.end()).toString('hex');
}

function add(constant, encoding, data) {
	const text = decode(encoding, data);
	for (let i = 0; i < 50; i++)
		if (decode(encoding, data) !== text)
			throw new Error(`${encoding} ${data.toString('hex')}: text depends on the cut`);
	console.log(`{NET_ENCODING_${constant}, "${data.toString('hex')}", "${text}"},`);
}

console.log('/* Made by decoder_cases.js with the string_decoder of Node.js. */');
for (let i = 0; i < 120; i++) add('UTF8', 'utf8', edges(utf8, 1 + random(7)));
for (let i = 0; i < 20; i++) add('UTF8', 'utf8', valid('utf8').subarray(0, 8));
for (let i = 0; i < 60; i++) add('UTF16LE', 'utf16le', edges(utf16, 1 + random(8)));
for (let i = 0; i < 20; i++) add('UTF16LE', 'utf16le', valid('utf16le').subarray(0, 8));
for (const [constant, encoding] of [
	['LATIN1', 'latin1'],
	['ASCII', 'ascii'],
	['BASE64', 'base64'],
	['BASE64URL', 'base64url'],
	['HEX', 'hex'],
])
	for (let i = 0; i < 15; i++) add(constant, encoding, bytes(1 + random(8)));
