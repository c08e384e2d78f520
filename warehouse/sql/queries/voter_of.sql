-- one row: kind of voter $voter, none when nobody has that name
SELECT kind FROM voters WHERE voter = $voter;
