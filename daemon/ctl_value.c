#include "daemon/ctl_value.h"

const char *ctl_text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "-";
}

void ctl_add_text(struct ctl_table *t, const json_t *row, const char *key)
{
	ctl_table_add(t, "%s", ctl_text_of(row, key));
}

void ctl_add_number(struct ctl_table *t, const json_t *row, const char *key)
{
	const json_t *number = json_object_get(row, key);

	if (json_is_integer(number))
		ctl_table_add(t, "%" JSON_INTEGER_FORMAT, json_integer_value(number));
	else
		ctl_table_add(t, "-");
}

void ctl_add_yes_no(struct ctl_table *t, const json_t *row, const char *key)
{
	const json_t *value = json_object_get(row, key);

	ctl_table_add(t, "%s", json_is_boolean(value) ? json_is_true(value) ? "yes" : "no" : "-");
}

const char *ctl_duration_of(const json_t *row, const char *key, char text[CTL_DURATION_SIZE])
{
	const json_t *value = json_object_get(row, key);
	double number = json_number_value(value);
	unsigned long s;

	if (!json_is_number(value) || number < 0 || number > 1e12)
		return "-";

	s = (unsigned long)number;
	if (s < 60)
		snprintf(text, CTL_DURATION_SIZE, "%lus", s);
	else if (s < 3600)
		snprintf(text, CTL_DURATION_SIZE, "%lum %02lus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, CTL_DURATION_SIZE, "%luh %02lum", s / 3600, s / 60 % 60);
	else
		snprintf(text, CTL_DURATION_SIZE, "%lud %02luh", s / 86400, s / 3600 % 24);
	return text;
}
