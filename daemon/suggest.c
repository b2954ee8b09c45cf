#include "daemon/suggest.h"

#include <stdbool.h>
#include <string.h>

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The letters of a stand for rows, those of b for columns. Swaps look two rows back, so three rows
 * are kept and used in turn. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t rows[3][SUGGEST_WORD_MAX + 1];

	for (size_t j = 0; j <= b_length; j++)
		rows[0][j] = j;

	for (size_t i = 1; i <= a_length; i++) {
		const size_t *before = rows[(i + 1) % 3], *above = rows[(i - 1) % 3];
		size_t *row = rows[i % 3];

		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
				       a[i - 2] == b[j - 1];

			row[j] = min(above[j - 1] + (a[i - 1] != b[j - 1]),
				     min(above[j], row[j - 1]) + 1);
			if (swapped)
				row[j] = min(row[j], before[j - 2] + 1);
		}
	}

	return rows[a_length % 3][b_length];
}

void suggestion_init(struct suggestion *suggestion, const char *word)
{
	*suggestion = (struct suggestion){.word = word, .distance = (strlen(word) + 2) / 3 + 1};
}

void suggestion_offer(struct suggestion *suggestion, const char *candidate)
{
	size_t word_length = strlen(suggestion->word), length = strlen(candidate);

	if (word_length > SUGGEST_WORD_MAX || length > SUGGEST_WORD_MAX)
		return;

	size_t distance = edit_distance(suggestion->word, word_length, candidate, length);
	if (distance >= suggestion->distance)
		return;

	suggestion->distance = distance;
	suggestion->best = candidate;
}
