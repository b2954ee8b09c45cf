/* Fuzzes the configuration: any bytes are either refused with a complaint, or read into a
 * configuration that prints as YAML which reads and prints the same again. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const struct config *config, size_t *ret_size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_size);

	REQUIRE(out);
	REQUIRE(config_print(config, out) == 0);
	REQUIRE(fclose(out) == 0);
	return text;
}

static void check_round_trip(const struct config *config)
{
	struct config_errors errors = {.count = 0};
	struct config *again = NULL;
	size_t first_size, second_size;

	char *first = print(config, &first_size);
	REQUIRE(config_parse("printed", first, first_size, &errors, &again) == 0);
	char *second = print(again, &second_size);
	REQUIRE(first_size == second_size && memcmp(first, second, first_size) == 0);

	free(first);
	free(second);
	config_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_errors errors = {.count = 0};
	struct config *config = NULL;

	int err = config_parse("input", data, size, &errors, &config);
	if (err) {
		REQUIRE(err == -EINVAL && !config && config_errors_count(&errors) > 0);
	} else {
		REQUIRE(config && config->n_listeners > 0 && config_errors_count(&errors) == 0);
		check_round_trip(config);
	}

	config_errors_done(&errors);
	config_free(config);
	return 0;
}
