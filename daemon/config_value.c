#include "daemon/config_value.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define EXPECTED_SIZE 128

static const struct {
	const char *name;
	unsigned long ms;
} units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}}; /* the longest first */

size_t config_digits(const char *text, unsigned long max, unsigned long *ret)
{
	unsigned long number = 0;
	size_t n = strspn(text, "0123456789");

	if (n > 1 && text[0] == '0')
		return 0;

	for (size_t i = 0; i < n; i++) {
		unsigned long digit = (unsigned long)(text[i] - '0');

		if (number > max / 10 || number * 10 > max - digit)
			return 0;
		number = number * 10 + digit;
	}

	*ret = number;
	return n;
}

int config_number(struct config_reader *reader, const struct config_key *key,
		  const yaml_node_t *value, unsigned long *ret)
{
	const char *text = config_scalar(value);
	char expected[EXPECTED_SIZE];
	unsigned long number;

	size_t n = text ? config_digits(text, key->max, &number) : 0;
	if (n > 0 && text[n] == '\0' && number >= key->min) {
		*ret = number;
		return 0;
	}

	snprintf(expected, sizeof(expected), "a number from %lu to %lu", key->min, key->max);
	return config_refuse(reader, key->name, value, expected);
}

int config_read_int(struct config_reader *reader, const struct config_key *key,
		    const yaml_node_t *value, void *target)
{
	unsigned long number = 0;

	int err = config_number(reader, key, value, &number);
	if (err)
		return err;

	*(int *)((char *)target + key->offset) = (int)number;
	return 0;
}

int config_read_bool(struct config_reader *reader, const struct config_key *key,
		     const yaml_node_t *value, void *target)
{
	const char *text = config_scalar(value);
	bool *member = (bool *)((char *)target + key->offset);

	if (!text || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
		return config_refuse(reader, key->name, value, "true or false");

	*member = text[0] == 't';
	return 0;
}

/* --- durations -------------------------------------------------------------------------------- */

void config_duration_text(unsigned long ms, char ret[CONFIG_DURATION_SIZE])
{
	snprintf(ret, CONFIG_DURATION_SIZE, "0s");

	for (size_t i = 0; ms > 0 && i < ARRAY_LEN(units); i++) {
		if (ms % units[i].ms != 0)
			continue;
		snprintf(ret, CONFIG_DURATION_SIZE, "%lu%s", ms / units[i].ms, units[i].name);
		return;
	}
}

static int refuse_duration(struct config_reader *reader, const struct config_key *key,
			   const yaml_node_t *value)
{
	char min[CONFIG_DURATION_SIZE], max[CONFIG_DURATION_SIZE], expected[EXPECTED_SIZE];

	config_duration_text(key->min, min);
	config_duration_text(key->max, max);
	snprintf(expected, sizeof(expected), "a duration from %s to %s", min, max);
	return config_refuse(reader, key->name, value, expected);
}

static unsigned long unit_factor(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (strcmp(units[i].name, name) == 0)
			return units[i].ms;

	return 0;
}

int config_read_duration(struct config_reader *reader, const struct config_key *key,
			 const yaml_node_t *value, void *target)
{
	const char *text = config_scalar(value);
	unsigned long number;

	size_t n = text ? config_digits(text, key->max, &number) : 0;
	if (n == 0)
		return refuse_duration(reader, key, value);
	if (text[n] == '\0')
		return config_complain(
			reader, value,
			"\"%s\" needs a unit (ms, s, m or h); did you mean \"%lus\"?", key->name,
			number);

	unsigned long factor = unit_factor(text + n);
	if (factor == 0 || number > key->max / factor || number * factor < key->min)
		return refuse_duration(reader, key, value);

	*(unsigned int *)((char *)target + key->offset) = (unsigned int)(number * factor);
	return 0;
}

/* --- texts ------------------------------------------------------------------------------------ */

static bool has_control_character(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;

	return false;
}

int config_text(struct config_reader *reader, const struct config_key *key,
		const yaml_node_t *value, const char *expected, const char **ret)
{
	const char *text = config_scalar(value);

	if (!text || text[0] == '\0')
		return config_refuse(reader, key->name, value, expected);
	if (has_control_character(text))
		return config_complain(reader, value, "\"%s\" holds a control character",
				       key->name);

	*ret = text;
	return 0;
}

int config_replace(char **ret, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;

	free(*ret);
	*ret = copy;
	return 0;
}
