/* What this build is: for `frontier version` and every results file. */
#ifndef SF_VERSION_H
#define SF_VERSION_H

const char *sf_version(void);    /* "0.2.0", as CITATION.cff says */
const char *sf_revision(void);   /* git revision it was built from */
char *sf_versions_json(void);    /* libraries, compiler, CPU: canonical JSON, malloc'ed */

#endif
