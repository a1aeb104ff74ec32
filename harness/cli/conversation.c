/* `show --chat`: what a model reads, token by token. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/cli/conversation.h"
#include "harness/model/chat.h"
#include "harness/model/tokenizer.h"

json_t *sf_conversation(const sf_model *m, const int32_t *ids, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        char *text = NULL;
        if (sf_decode(m->tokenizer, &ids[i], 1, false, &text) == SF_OK)
            json_array_append_new(list, json_pack("[i, s]", ids[i], text));
        free(text);
    }
    return list;
}

/* `--set KEY=VALUE …` as the key `chat` of a config would have them. */
static sf_status read_options(const sf_strings *set, sf_model_spec *out)
{
    int fd = memfd_create("chat", 0);
    static const char empty[] = "chat: {}\n";
    if (fd < 0 || write(fd, empty, sizeof empty - 1) != sizeof empty - 1) return sf_fail(SF_IO, "no room for options");
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    sf_node *root = NULL;
    sf_status status = sf_yaml_read(path, &root);
    for (int i = 0; status == SF_OK && i < set->n; i++) {
        char *assignment = NULL;
        if (asprintf(&assignment, "chat.%s", set->item[i]) < 0) assignment = NULL;
        status = assignment ? sf_yaml_set(root, assignment) : sf_fail(SF_NO_MEMORY, "no memory for options");
        free(assignment);
    }
    if (status == SF_OK && set->n) status = sf_chat_read(sf_yaml_get(root, "chat"), out);
    sf_yaml_free(root);
    close(fd);
    return status;
}

sf_status sf_conversation_of(const char *path, const sf_strings *set, json_t *o)
{
    static const char message[] = "What is the capital of France?";
    sf_model_spec spec = {0};
    sf_model *m = NULL;
    int32_t *ids = NULL;
    int n = 0;
    sf_jinja_output text = {0};
    sf_status status = read_options(set, &spec);
    if (status == SF_OK) status = sf_model_open_text(path, &m);
    if (status == SF_OK) status = sf_model_chat(m, spec.chat);
    if (status == SF_OK && !m->chat)
        status = sf_fail(SF_BAD_INPUT, "%s: %s", path, m->no_chat ? m->no_chat : "is a shape");
    if (status == SF_OK) status = sf_chat_render(m->chat, message, strlen(message), &text);
    if (status == SF_OK) status = sf_chat_encode(m->chat, m->tokenizer, message, strlen(message), &ids, &n);
    if (status == SF_OK) {
        json_object_set_new(o, "chat", json_string(sf_chat_name(m->chat)));
        json_object_set_new(o, "options", json_string(sf_chat_used(m->chat)));
        json_object_set_new(o, "bos", m->bos < 0 ? json_null() : json_string(sf_token_text(m->tokenizer, m->bos)));
        json_object_set_new(o, "tokens", json_integer(n));
        json_object_set_new(o, "rendered", json_string(text.text));
        json_object_set_new(o, "conversation", sf_conversation(m, ids, n));
    }
    sf_jinja_output_free(&text);
    free(ids);
    free(spec.chat);
    sf_model_close(m);
    return status;
}

void sf_conversation_print(const json_t *tokens)
{
    size_t i;
    json_t *token;
    printf("---- conversation ----\n");
    json_array_foreach(tokens, i, token)
    {
        char *text = json_dumps(json_array_get(token, 1), JSON_ENCODE_ANY);
        printf("%8lld  %s\n", json_integer_value(json_array_get(token, 0)), text);
        free(text);
    }
    printf("----\n");
}
