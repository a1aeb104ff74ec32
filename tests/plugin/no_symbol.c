/* A shared object that is no plug-in: refused at load. */
int not_a_plugin(void);
int not_a_plugin(void) { return 0; }
