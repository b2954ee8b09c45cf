/* The text must not depend on how the bytes are cut, and must fit its room. The first byte chooses
 * the encoding, the second the sizes of the pieces. */
#include <assert.h>
#include <string.h>

#include "common/macros.h"
#include "common/net/decoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

/* Pieces of all sizes below 1 << bits, by a generator that starts from seed. */
static size_t next_piece(uint32_t *seed, unsigned bits, size_t left)
{
	size_t piece;

	*seed = *seed * 1664525u + 1013904223u;
	piece = *seed >> (32 - bits);
	return piece < left ? piece : left;
}

static size_t decode(enum net_encoding encoding, const uint8_t *data, size_t size, uint8_t cuts,
		     char *text)
{
	uint32_t seed = cuts;
	struct decoder decoder;
	size_t length = 0;

	decoder_init(&decoder, encoding);
	while (size > 0) {
		size_t piece = cuts == 0 ? size : next_piece(&seed, 1 + cuts % 6, size);
		char *room = malloc(DECODER_TEXT_SIZE(piece)); /* so that an overflow is seen */
		if (!room)
			abort();

		size_t written = decoder_write(&decoder, data, piece, room);
		memcpy(text + length, room, written);
		free(room);
		length += written;
		data += piece;
		size -= piece;
	}
	return length + decoder_end(&decoder, text + length);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	if (size < 2)
		return 0;

	enum net_encoding encoding = input[0] % (NET_ENCODING_HEX + 1);
	size_t room = DECODER_TEXT_SIZE(size);
	AUTO_FREE char *whole = malloc(room);
	AUTO_FREE char *pieces = malloc(room);
	if (!whole || !pieces)
		return 0;

	size_t length = decode(encoding, input + 2, size - 2, 0, whole);
	assert(length <= room);
	assert(decode(encoding, input + 2, size - 2, input[1], pieces) == length);
	assert(memcmp(whole, pieces, length) == 0);
	return 0;
}
