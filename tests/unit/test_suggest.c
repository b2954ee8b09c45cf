#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/suggest.h"

static const char *const words[] = {"name",    "host",      "port",      "path",
				    "fd",      "systemd",   "ipv6_only", "handler",
				    "backlog", "exclusive", "listeners"};

static const char *suggest(const char *word)
{
	struct suggestion suggestion;

	suggestion_init(&suggestion, word);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		suggestion_offer(&suggestion, words[i]);
	return suggestion.best;
}

static void left_out_letter_is_found(void **state)
{
	assert_string_equal(suggest("exlusive"), "exclusive");
	assert_string_equal(suggest("pth"), "path");
}

static void added_letter_is_found(void **state)
{
	assert_string_equal(suggest("backlogg"), "backlog");
}

static void wrong_letter_is_found(void **state)
{
	assert_string_equal(suggest("ipv6-only"), "ipv6_only");
}

static void swapped_letters_count_as_one_mistake(void **state)
{
	assert_string_equal(suggest("fdd"), "fd");
	assert_string_equal(suggest("df"), "fd");
	assert_string_equal(suggest("ahndler"), "handler");
}

static void nearest_word_wins_over_the_first(void **state)
{
	assert_string_equal(suggest("prot"), "port");
	assert_string_equal(suggest("pathh"), "path");
}

static void word_that_is_far_from_all_gets_no_suggestion(void **state)
{
	assert_null(suggest("max_connections"));
	assert_null(suggest("xyz"));
	assert_null(suggest(""));
}

static void word_too_long_to_compare_gets_no_suggestion(void **state)
{
	char word[SUGGEST_WORD_MAX + 2];
	char candidate[SUGGEST_WORD_MAX + 2];
	struct suggestion suggestion;

	memset(word, 'a', sizeof(word));
	word[SUGGEST_WORD_MAX + 1] = '\0';
	memcpy(candidate, word, sizeof(word));

	suggestion_init(&suggestion, word);
	suggestion_offer(&suggestion, candidate);
	assert_null(suggestion.best);

	word[SUGGEST_WORD_MAX] = candidate[SUGGEST_WORD_MAX] = '\0';
	suggestion_init(&suggestion, word);
	suggestion_offer(&suggestion, candidate);
	assert_ptr_equal(suggestion.best, candidate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(left_out_letter_is_found),
		cmocka_unit_test(added_letter_is_found),
		cmocka_unit_test(wrong_letter_is_found),
		cmocka_unit_test(swapped_letters_count_as_one_mistake),
		cmocka_unit_test(nearest_word_wins_over_the_first),
		cmocka_unit_test(word_that_is_far_from_all_gets_no_suggestion),
		cmocka_unit_test(word_too_long_to_compare_gets_no_suggestion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
