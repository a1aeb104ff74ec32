#include "harness/run/version.h"

#include <cblas.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/world.h"
#include "harness/model/tokenizer_regex.h"
#include "harness/model/unicode.h"
#include "harness/store/hdf5.h"
#include "kernels/backend.h"

const char *sf_version(void) { return SF_VERSION; }

const char *sf_revision(void) { return SF_REVISION; }

static void cpu_name(char out[128])
{
    snprintf(out, 128, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[512];
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (!colon) continue;
        snprintf(out, 128, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f) fclose(f);
}

char *sf_versions_json(void)
{
    char cpu[128];
    cpu_name(cpu);
    json_t *o = json_object();
    json_object_set_new(o, "frontier", json_string(SF_VERSION));
    json_object_set_new(o, "revision", json_string(SF_REVISION));
    json_object_set_new(o, "compiler", json_string(__VERSION__));
    json_object_set_new(o, "openblas", json_string(openblas_get_config()));
    json_object_set_new(o, "hdf5", json_string(sf_hdf5_version()));
    json_object_set_new(o, "libyaml", json_string(yaml_get_version_string()));
    json_object_set_new(o, "jansson", json_string(JANSSON_VERSION));
    json_object_set_new(o, "patterns", json_string(sf_regex_engine()));
    json_object_set_new(o, "unicode", json_string(SF_UNICODE_VERSIONS));
    json_object_set_new(o, "mpi", json_string(sf_world_library()));
    json_object_set_new(o, "cpu", json_string(cpu));
    json_t *backends = json_array();
    for (int i = 0; sf_backends[i]; i++) json_array_append_new(backends, json_string(sf_backends[i]->name));
    json_object_set_new(o, "backends", backends);
    char *out = json_dumps(o, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    json_decref(o);
    return out;
}
