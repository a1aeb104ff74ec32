# Made-up words in the layout of RULER's variable_tracking.py.
if type_haystack == 'essay':
    haystack = re.sub(r'\s+', " ", essay).split(" ")
elif type_haystack == 'noise':
    haystack = "It rains. It pours. It is wet again."
