/* Fuzzes the check of requests on the control socket, and the reading of answers by usherctl.
 *
 * A request that is accepted has all that the supervisor relies on; a refused one has a complaint
 * that can be shown on a terminal. An answer that is accepted can be shown as any verb's. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/macros.h"
#include "daemon/config.h"
#include "daemon/control_request.h"
#include "daemon/ctl_answer.h"
#include "daemon/ctl_verb.h"

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const json_t *request)
{
	const char *command = json_string_value(json_object_get(request, "command"));
	const json_t *listener = json_object_get(request, "listener");
	const json_t *worker = json_object_get(request, "worker");
	const json_t *before = json_object_get(request, "before");
	const json_t *workers = json_object_get(request, "workers");
	const char *meant;

	REQUIRE(json_integer_value(json_object_get(request, "version")) == CONTROL_VERSION);
	REQUIRE(command && (ctl_verb_find(command, &meant) || strcmp(command, "list") == 0));
	REQUIRE(!listener || json_string_length(listener) > 0);
	REQUIRE(!workers || json_integer_value(workers) > 0);
	REQUIRE(!workers || json_integer_value(workers) <= CONFIG_WORKERS_MAX);
	REQUIRE(!worker || json_integer_value(worker) > 0);
	REQUIRE(!before || json_integer_value(before) > 0);
	REQUIRE(workers || strcmp(command, "scale") != 0);
}

static void read_as_request(const char *bytes, size_t size)
{
	char complaint[CONTROL_COMPLAINT_SIZE] = "";
	json_t *request = NULL;
	int r = control_request_parse(bytes, size, &request, complaint);

	if (r == 0) {
		check_accepted(request);
		json_decref(request);
		return;
	}
	REQUIRE(r == -EINVAL && !request && complaint[0]);
	for (const char *c = complaint; *c; c++)
		REQUIRE(*c >= ' ' && *c <= '~');
}

static void read_as_answer(const char *line, FILE *out)
{
	struct ctl_answer answer = {0};

	if (ctl_answer_parse(line, &answer) < 0)
		return;
	REQUIRE((answer.exit_code == 0) == (answer.message == NULL));
	for (size_t i = 0; i < ctl_verb_count; i++)
		REQUIRE(ctl_verbs[i].show(answer.whole, out) == 0);
	ctl_answer_done(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *nowhere;
	AUTO_FREE char *bytes = malloc(size + 1);

	if (!nowhere)
		nowhere = fopen("/dev/null", "we");
	REQUIRE(bytes && nowhere);
	memcpy(bytes, data, size);
	bytes[size] = '\0';

	read_as_request(bytes, size);
	read_as_answer(bytes, nowhere);
	return 0;
}
