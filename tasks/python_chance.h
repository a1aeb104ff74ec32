/* Chance as Python programs have it, for suites that draw the examples of a prompt anew at each run: the same seed draws the
 * same here. hashlib's SHA-256 (FIPS 180-4), and NumPy's default_rng: its SeedSequence and PCG64 (O'Neill 2014). */
#ifndef SF_PYTHON_CHANCE_H
#define SF_PYTHON_CHANCE_H

#include <stddef.h>
#include <stdint.h>

/* int(hashlib.sha256(text).hexdigest(), 16) % 2**31 */
uint32_t sf_python_hash_seed(const char *text, size_t bytes);

/* numpy.random.default_rng(seed).permutation(n), 0 <= n < 2**31. */
void sf_numpy_permutation(uint32_t seed, int n, int *out);

#endif
