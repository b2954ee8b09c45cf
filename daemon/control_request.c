#include "daemon/control_request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/macros.h"
#include "daemon/config.h"
#include "daemon/suggest.h"

#define QUOTE_SIZE 48

enum field_kind { FIELD_NONE, FIELD_NAME, FIELD_COUNT };

struct command {
	const char *name;
	const char *field; /* the one beside "version" and "command" */
	enum field_kind kind;
	bool needed;
};

static const struct command commands[] = {
#define COMMAND(name, field, kind, needed) {#name, field, FIELD_##kind, needed},
	CONTROL_COMMANDS(COMMAND)
#undef COMMAND
};

static int complain(char complaint[CONTROL_COMPLAINT_SIZE], const char *format, ...)
	PRINTF_LIKE(2, 3);

static int complain(char complaint[CONTROL_COMPLAINT_SIZE], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(complaint, CONTROL_COMPLAINT_SIZE, format, args);
	va_end(args);

	/* The request's own bytes may be in it. */
	for (char *c = complaint; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return -EINVAL;
}

/* text in double quotes, cut when long. */
static const char *quote(const char *text, char quoted[QUOTE_SIZE])
{
	bool fits = strlen(text) <= QUOTE_SIZE - sizeof("\"...\"");

	snprintf(quoted, QUOTE_SIZE, "\"%.*s%s\"", (int)(QUOTE_SIZE - sizeof("\"...\"")), text,
		 fits ? "" : "...");
	return quoted;
}

static int check_version(const json_t *request, char complaint[CONTROL_COMPLAINT_SIZE])
{
	const json_t *version = json_object_get(request, "version");

	if (!json_is_integer(version))
		return complain(complaint, "the request has no \"version\" that is a number");
	if (json_integer_value(version) != CONTROL_VERSION)
		return complain(complaint,
				"version %" JSON_INTEGER_FORMAT
				" of the protocol is not spoken here, only version %d",
				json_integer_value(version), CONTROL_VERSION);
	return 0;
}

/* NULL, with a complaint, when there is no such command. */
static const struct command *find_command(const json_t *request,
					  char complaint[CONTROL_COMPLAINT_SIZE])
{
	const char *name = json_string_value(json_object_get(request, "command"));
	struct suggestion meant;
	char quoted[QUOTE_SIZE];

	if (!name) {
		complain(complaint, "the request has no \"command\" that is a text");
		return NULL;
	}
	suggestion_init(&meant, name);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
		suggestion_offer(&meant, commands[i].name);
	}
	complain(complaint, meant.best ? "no command %s; did you mean \"%s\"?" : "no command %s",
		 quote(name, quoted), meant.best);
	return NULL;
}

static int check_extra(const json_t *request, const struct command *command,
		       char complaint[CONTROL_COMPLAINT_SIZE])
{
	char quoted[QUOTE_SIZE];
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)request, key, value) {
		if (strcmp(key, "version") == 0 || strcmp(key, "command") == 0 ||
		    (command->field && strcmp(key, command->field) == 0))
			continue;
		return complain(complaint, "\"%s\" takes no field %s", command->name,
				quote(key, quoted));
	}
	return 0;
}

static bool is_name(const json_t *value)
{
	size_t length = json_string_length(value);

	return json_is_string(value) && length > 0 && length <= CONTROL_NAME_MAX;
}

static bool is_count(const json_t *value)
{
	return json_is_integer(value) && json_integer_value(value) >= 1 &&
	       json_integer_value(value) <= CONFIG_WORKERS_MAX;
}

static int check_field(const json_t *request, const struct command *command,
		       char complaint[CONTROL_COMPLAINT_SIZE])
{
	const json_t *value;

	if (command->kind == FIELD_NONE)
		return 0;

	value = json_object_get(request, command->field);
	if (!value)
		return command->needed ? complain(complaint, "\"%s\" needs the field \"%s\"",
						  command->name, command->field)
				       : 0;
	if (command->kind == FIELD_NAME && !is_name(value))
		return complain(complaint, "\"%s\" must be a text of 1 to %d letters",
				command->field, CONTROL_NAME_MAX);
	if (command->kind == FIELD_COUNT && !is_count(value))
		return complain(complaint, "\"%s\" must be a number from 1 to %d", command->field,
				CONFIG_WORKERS_MAX);
	return 0;
}

static int check(const json_t *request, char complaint[CONTROL_COMPLAINT_SIZE])
{
	const struct command *command;
	int r;

	if (!json_is_object(request))
		return complain(complaint, "the request is not a JSON object");

	r = check_version(request, complaint);
	if (r < 0)
		return r;
	command = find_command(request, complaint);
	if (!command)
		return -EINVAL;
	r = check_extra(request, command, complaint);
	if (r < 0)
		return r;
	return check_field(request, command, complaint);
}

int control_request_parse(const char *line, size_t size, json_t **ret,
			  char complaint[CONTROL_COMPLAINT_SIZE])
{
	json_error_t error;
	json_t *request;
	int r;

	request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);
	if (!request)
		return complain(complaint, "the request is not JSON: column %d: %.120s",
				error.column, error.text);

	r = check(request, complaint);
	if (r < 0) {
		json_decref(request);
		return r;
	}
	*ret = request;
	return 0;
}
