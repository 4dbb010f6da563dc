"""Reading a repository that is not trusted: nothing in it can start a program, hold a caller or fill the memory."""
