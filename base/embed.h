/* A file of this repository as bytes of the program, so that the binary runs from anywhere:
 *
 *     SF_EMBED(words, "tasks/data/words.txt");   →   words … words_end, followed by a NUL
 *
 * The path is relative to where the compiler runs, the repository root. The Makefile names them as prerequisites. */
#ifndef SF_EMBED_H
#define SF_EMBED_H

#define SF_EMBED(name, path)                                                                                           \
    __asm__(".pushsection .rodata\n" #name ":\n.incbin \"" path "\"\n" #name "_end:\n.byte 0\n.popsection");           \
    extern const char name[], name##_end[]

#endif
