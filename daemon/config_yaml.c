#include "daemon/config_yaml.h"

#include <stdbool.h>
#include <string.h>

struct source {
	const struct config_mark *mark;
	const unsigned char *text;
	size_t size;
	struct config_errors *errors;
	unsigned int documents;
	unsigned int depth;
};

typedef int event_fn(struct source *source, const yaml_event_t *event);

struct config_mark config_yaml_mark(const struct config_mark *mark, const yaml_mark_t *at)
{
	return (struct config_mark){
		.file = mark->file,
		.rank = mark->rank,
		.line = (unsigned int)at->line + 1,
		.column = (unsigned int)at->column + 1,
	};
}

/* --- what libyaml itself complains about ------------------------------------------------------ */

static bool continues_character(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

/* Bytes that are no text at all have an offset only. */
static struct config_mark mark_of_offset(const struct source *source, size_t offset)
{
	yaml_mark_t at = {0};

	for (size_t i = 0; i < offset && i < source->size; i++) {
		if (source->text[i] == '\n') {
			at.line++;
			at.column = 0;
		} else if (!continues_character(source->text[i])) {
			at.column++;
		}
	}

	return config_yaml_mark(source->mark, &at);
}

static unsigned char byte_at(const struct source *source, size_t character)
{
	for (size_t i = 0; i < source->size; i++) {
		if (continues_character(source->text[i]))
			continue;
		if (character-- == 0)
			return source->text[i];
	}

	return 0;
}

static const char *hint_for(unsigned char byte)
{
	switch (byte) {
	case '\t':
		return "; YAML indents with spaces, not tabs";
	case '@':
		return "; a value that begins with \"@\" must be in quotes";
	default:
		return "";
	}
}

static int complain_of_bytes(const struct source *source, const yaml_parser_t *parser)
{
	struct config_mark mark = mark_of_offset(source, parser->problem_offset);

	config_errors_add(source->errors, &mark, "not valid YAML: %s", parser->problem);
	return -EINVAL;
}

static int complain_of_syntax(const struct source *source, const yaml_parser_t *parser)
{
	struct config_mark mark = config_yaml_mark(source->mark, &parser->problem_mark);
	const char *hint = hint_for(byte_at(source, parser->problem_mark.index));
	const char *context = parser->context ? parser->context : "";
	const char *space = parser->context ? " " : "";

	if (parser->context && parser->context_mark.line != parser->problem_mark.line)
		config_errors_add(source->errors, &mark,
				  "not valid YAML: %s %s that begins in line %zu%s",
				  parser->problem, context, parser->context_mark.line + 1, hint);
	else
		config_errors_add(source->errors, &mark, "not valid YAML: %s%s%s%s",
				  parser->problem, space, context, hint);
	return -EINVAL;
}

static int complain(const struct source *source, const yaml_parser_t *parser)
{
	switch ((int)parser->error) {
	case YAML_MEMORY_ERROR:
		return -ENOMEM;
	case YAML_READER_ERROR:
		return complain_of_bytes(source, parser);
	default:
		return complain_of_syntax(source, parser);
	}
}

/* --- what we do not want ---------------------------------------------------------------------- */

static int refuse(const struct source *source, const yaml_event_t *event, const char *text)
{
	struct config_mark mark = config_yaml_mark(source->mark, &event->start_mark);

	config_errors_add(source->errors, &mark, "%s", text);
	return -EINVAL;
}

static int check_properties(const struct source *source, const yaml_event_t *event,
			    const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor)
		return refuse(source, event, "anchors are not supported; write the value out");
	if (tag)
		return refuse(source, event, "tags are not supported");
	return 0;
}

static int on_document(struct source *source, const yaml_event_t *event)
{
	return ++source->documents == 1
		       ? 0
		       : refuse(source, event, "a second document begins; a file holds one");
}

static int on_alias(struct source *source, const yaml_event_t *event)
{
	return refuse(source, event, "aliases are not supported; write the value out");
}

static int on_scalar(struct source *source, const yaml_event_t *event)
{
	return check_properties(source, event, event->data.scalar.anchor, event->data.scalar.tag);
}

static int open_level(struct source *source, const yaml_event_t *event)
{
	return ++source->depth <= CONFIG_DEPTH_MAX
		       ? 0
		       : refuse(source, event, "lists and maps are nested too deeply");
}

static int on_list(struct source *source, const yaml_event_t *event)
{
	int err = check_properties(source, event, event->data.sequence_start.anchor,
				   event->data.sequence_start.tag);

	return err ? err : open_level(source, event);
}

static int on_map(struct source *source, const yaml_event_t *event)
{
	int err = check_properties(source, event, event->data.mapping_start.anchor,
				   event->data.mapping_start.tag);

	return err ? err : open_level(source, event);
}

static int on_end(struct source *source, const yaml_event_t *event)
{
	source->depth--;
	return 0;
}

static event_fn *const checks[] = {
	[YAML_DOCUMENT_START_EVENT] = on_document, [YAML_ALIAS_EVENT] = on_alias,
	[YAML_SCALAR_EVENT] = on_scalar,           [YAML_SEQUENCE_START_EVENT] = on_list,
	[YAML_SEQUENCE_END_EVENT] = on_end,        [YAML_MAPPING_START_EVENT] = on_map,
	[YAML_MAPPING_END_EVENT] = on_end,
};

static int check_event(struct source *source, const yaml_event_t *event)
{
	if ((size_t)event->type >= ARRAY_LEN(checks) || !checks[event->type])
		return 0;

	return checks[event->type](source, event);
}

static int check_events(struct source *source, yaml_parser_t *parser)
{
	for (;;) {
		yaml_event_t event;

		if (!yaml_parser_parse(parser, &event))
			return complain(source, parser);

		bool last = event.type == YAML_STREAM_END_EVENT;
		int err = check_event(source, &event);
		yaml_event_delete(&event);
		if (err || last)
			return err;
	}
}

static int load_document(struct source *source, yaml_parser_t *parser, yaml_document_t *ret)
{
	return yaml_parser_load(parser, ret) ? 0 : complain(source, parser);
}

/* libyaml would unfold aliases and follow any depth while it builds the tree, so the events are
 * looked at in a pass of their own before. */
int config_yaml_load(const struct config_mark *mark, const void *text, size_t size,
		     struct config_errors *errors, yaml_document_t *ret)
{
	struct source source = {.mark = mark, .text = text, .size = size, .errors = errors};
	yaml_parser_t parser;
	int err;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, text, size);
	err = check_events(&source, &parser);
	yaml_parser_delete(&parser);
	if (err)
		return err;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, text, size);
	err = load_document(&source, &parser, ret);
	yaml_parser_delete(&parser);
	return err;
}
