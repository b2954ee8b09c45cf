#include "daemon/control_request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/macros.h"
#include "daemon/config.h"
#include "daemon/suggest.h"

#define QUOTE_SIZE 48

enum field_kind { FIELD_NONE, FIELD_NAME, FIELD_COUNT, FIELD_ID, FIELD_TIME, FIELD_ACTION };

struct field {
	const char *command;
	const char *name; /* beside "version" and "command"; NULL: none */
	enum field_kind kind;
	bool needed;
};

/* Ends with a row of no command. */
static const struct field fields[] = {
#define FIELD(command, name, kind, needed) {#command, name, FIELD_##kind, needed},
	CONTROL_COMMANDS(FIELD)
#undef FIELD
		{0},
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

/* The next field of the same command; NULL: there is none. */
static const struct field *next_field(const struct field *field)
{
	const struct field *next = field + 1;

	return next->command && strcmp(next->command, field->command) == 0 ? next : NULL;
}

/* Its first field; NULL, with a complaint, when there is no such command. */
static const struct field *find_command(const json_t *request,
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
	for (const struct field *field = fields; field->command; field++) {
		if (strcmp(field->command, name) == 0)
			return field;
		suggestion_offer(&meant, field->command);
	}
	complain(complaint, meant.best ? "no command %s; did you mean \"%s\"?" : "no command %s",
		 quote(name, quoted), meant.best);
	return NULL;
}

static bool is_known(const struct field *first, const char *key)
{
	if (strcmp(key, "version") == 0 || strcmp(key, "command") == 0)
		return true;
	for (const struct field *field = first; field; field = next_field(field))
		if (field->name && strcmp(key, field->name) == 0)
			return true;
	return false;
}

static int check_extra(const json_t *request, const struct field *first,
		       char complaint[CONTROL_COMPLAINT_SIZE])
{
	char quoted[QUOTE_SIZE];
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)request, key, value)
		if (!is_known(first, key))
			return complain(complaint, "\"%s\" takes no field %s", first->command,
					quote(key, quoted));
	return 0;
}

static bool is_name(const json_t *value)
{
	size_t length = json_string_length(value);

	return json_is_string(value) && length > 0 && length <= CONTROL_NAME_MAX;
}

static bool is_within(const json_t *value, json_int_t most)
{
	return json_is_integer(value) && json_integer_value(value) >= 1 &&
	       json_integer_value(value) <= most;
}

static bool is_action(const json_t *value)
{
	const char *text = json_string_value(value);

	return text && (strcmp(text, "drain") == 0 || strcmp(text, "undrain") == 0);
}

static int check_value(const struct field *field, const json_t *value,
		       char complaint[CONTROL_COMPLAINT_SIZE])
{
	static const json_int_t most[] = {
		[FIELD_COUNT] = CONFIG_WORKERS_MAX,
		[FIELD_ID] = UINT32_MAX,
		[FIELD_TIME] = INT64_MAX,
	};

	if (field->kind == FIELD_NAME)
		return is_name(value)
			       ? 0
			       : complain(complaint, "\"%s\" must be a text of 1 to %d letters",
					  field->name, CONTROL_NAME_MAX);
	if (field->kind == FIELD_ACTION)
		return is_action(value)
			       ? 0
			       : complain(complaint, "\"%s\" must be \"drain\" or \"undrain\"",
					  field->name);
	return is_within(value, most[field->kind])
		       ? 0
		       : complain(complaint,
				  "\"%s\" must be a number from 1 to %" JSON_INTEGER_FORMAT,
				  field->name, most[field->kind]);
}

static int check_field(const json_t *request, const struct field *field,
		       char complaint[CONTROL_COMPLAINT_SIZE])
{
	const json_t *value = field->name ? json_object_get(request, field->name) : NULL;

	if (value)
		return check_value(field, value, complaint);
	return field->needed ? complain(complaint, "\"%s\" needs the field \"%s\"", field->command,
					field->name)
			     : 0;
}

static int check(const json_t *request, char complaint[CONTROL_COMPLAINT_SIZE])
{
	const struct field *first;
	int r;

	if (!json_is_object(request))
		return complain(complaint, "the request is not a JSON object");

	r = check_version(request, complaint);
	if (r < 0)
		return r;
	first = find_command(request, complaint);
	if (!first)
		return -EINVAL;
	r = check_extra(request, first, complaint);
	for (const struct field *field = first; r == 0 && field; field = next_field(field))
		r = check_field(request, field, complaint);
	return r;
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
