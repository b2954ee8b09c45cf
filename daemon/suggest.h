/* Finds the word that somebody most likely meant.
 *
 * The distance between two words is the number of letters to insert, delete, replace or swap with
 * their neighbour; a word further away than a third of its length is no suggestion.
 *
 * Owns:   nothing: word and candidates are borrowed.
 * Source: optimal string alignment, the restricted form of Damerau's edit distance. */
#ifndef USHER_DAEMON_SUGGEST_H
#define USHER_DAEMON_SUGGEST_H

#include <stddef.h>

/* Longer words are compared with nothing. */
#define SUGGEST_WORD_MAX 64

struct suggestion {
	const char *word;
	const char *best; /* NULL: none of the candidates is near */
	size_t distance;  /* only candidates nearer than this are looked at */
};

void suggestion_init(struct suggestion *suggestion, const char *word);

/* Of equally near candidates the first one offered stays. */
void suggestion_offer(struct suggestion *suggestion, const char *candidate);

#endif
