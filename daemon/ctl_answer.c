#include "daemon/ctl_answer.h"

#include <errno.h>
#include <stddef.h>
#include <sysexits.h>

#include "daemon/control_request.h"

/* A refusal's exit code is ours to end with, so it must be a failure of sysexits.h. */
static int read_refusal(const json_t *whole, struct ctl_answer *answer)
{
	const json_t *error = json_object_get(whole, "error");
	const json_t *code = json_object_get(error, "exit");
	const char *message = json_string_value(json_object_get(error, "message"));

	if (!json_is_integer(code) || !message)
		return -EPROTO;
	if (json_integer_value(code) < EX__BASE || json_integer_value(code) > EX__MAX)
		return -EPROTO;

	answer->exit_code = (int)json_integer_value(code);
	answer->message = message;
	return 0;
}

static int read_whole(json_t *whole, struct ctl_answer *answer)
{
	const json_t *version = json_object_get(whole, "version");
	const json_t *ok = json_object_get(whole, "ok");

	if (!json_is_integer(version) || json_integer_value(version) != CONTROL_VERSION)
		return -EPROTO;
	if (!json_is_boolean(ok))
		return -EPROTO;
	return json_is_true(ok) ? 0 : read_refusal(whole, answer);
}

int ctl_answer_parse(const char *line, struct ctl_answer *ret)
{
	struct ctl_answer answer = {0};
	int r;

	answer.whole = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	r = read_whole(answer.whole, &answer);
	if (r < 0) {
		json_decref(answer.whole);
		return r;
	}
	*ret = answer;
	return 0;
}

void ctl_answer_done(struct ctl_answer *answer)
{
	json_decref(answer->whole);
	answer->whole = NULL;
}
